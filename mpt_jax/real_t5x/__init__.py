"""The real T5X as the engine: what the gin files configure, in T5X's own terms (docs/t5x.md).

`train.arguments`, `eval.arguments` and `infer.arguments` translate the facade's objects
(`mpt_jax.t5x`) into the arguments of T5X's function of that name; the other modules are the
parts that T5X is given: model, optimizer, partitioner, data, start, and what it calls back.
"""
