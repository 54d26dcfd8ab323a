"""Multitask Prompt Tuning (Wang et al., ICLR 2023) for T5 in JAX: many tasks, one frozen backbone."""
