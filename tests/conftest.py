"""Test setting: CPU, four virtual devices, strict promotion, no network."""

import os

os.environ["JAX_PLATFORMS"] = "cpu"
os.environ["XLA_FLAGS"] = "--xla_force_host_platform_device_count=4"
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
# Toy programs cost more to optimise than to run; a quarter of the suite's time was that.
os.environ["JAX_DISABLE_MOST_OPTIMIZATIONS"] = "1"
