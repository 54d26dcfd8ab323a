"""How tests have XLA compile."""


def flags(devices: int) -> str:
    """XLA_FLAGS for so many CPU devices.

    XLA's older emitters take a third of the time; splitting a program for compilation in parallel
    takes a fifth of the work.
    """
    return (
        f"--xla_force_host_platform_device_count={devices} --xla_cpu_use_fusion_emitters=false "
        "--xla_cpu_parallel_codegen_split_count=1"
    )
