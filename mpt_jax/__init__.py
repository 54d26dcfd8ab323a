"""Multitask Prompt Tuning (Wang et al., ICLR 2023) for T5 in JAX."""
