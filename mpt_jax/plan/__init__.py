"""`t5x plan`: what a run would need of a described TPU, compiled but never run."""
