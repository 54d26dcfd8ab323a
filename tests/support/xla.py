"""How tests have XLA compile."""


def flags(devices: int) -> str:
    """XLA_FLAGS for so many CPU devices; XLA's older emitters take a third of the time."""
    return f"--xla_force_host_platform_device_count={devices} --xla_cpu_use_fusion_emitters=false"
