"""The model protocol that T5X's trainer, evaluator and inference call (T5X's models.py).

The two wings of the project meet here: what is trained (backbone, prompt bank, method,
distillation) on one side, how a run runs (engine) on the other.
"""

import contextlib
import dataclasses
import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax import traverse_util
from flax.linen import partitioning as flax_partitioning

from mpt_jax import distillation as distill
from mpt_jax import losses, metrics, prompts
from mpt_jax.backbone import axes, decoding, network
from mpt_jax.backbone.config import T5Config
from mpt_jax.errors import UserError
from mpt_jax.methods.base import Method, filled, label_parameters
from mpt_jax.vocabulary import end_id

Batch = Mapping[str, jax.Array]

# Fields that leave the programs of inference as they are, or of which `inference` has what counts.
_NOT_OF_INFERENCE = frozenset(
    {
        "method",
        "tasks",
        "input_vocabulary",
        "output_vocabulary",
        "optimizer_def",
        "label_words",
        "input_forms",
        "distillation",
        "label_smoothing",
        "z_loss",
    }
)


@dataclasses.dataclass(frozen=True)
class EncoderDecoderModel:
    """A T5, the method that adapts it, and the tasks it is adapted to.

    Attributes:
        config: sizes of the backbone.
        method: what is tuned and how.
        tasks: names of the K tasks; a batch's `task_ids` index them.
        input_vocabulary, output_vocabulary: seqio vocabularies; they tell `config.eos_id`.
        optimizer_def: an `engine.optimizers.OptimizerDef`; None for evaluation and inference.
        label_words: task -> label words, for initialisers and the product.
        input_forms: task -> how its inputs are written, for the product.
        distillation: teachers to learn from; None: only L_PLM.
        label_smoothing: share of the target mass given to the other V-1 pieces.
        z_loss: weight of T5X's penalty `log(Z)^2` on the softmax normaliser.
        decode_fn: `decoding.generate` with its options (beams, sampling) bound.
    """

    config: T5Config
    method: Method
    tasks: tuple[str, ...]
    input_vocabulary: Any
    output_vocabulary: Any
    optimizer_def: Any = None
    label_words: Mapping[str, Sequence[str]] = dataclasses.field(default_factory=dict)
    input_forms: Mapping[str, str] = dataclasses.field(default_factory=dict)
    distillation: distill.Distillation | None = None
    label_smoothing: float = 0.0
    z_loss: float = 0.0
    decode_fn: Callable = decoding.generate

    def __post_init__(self):
        if not 0 <= self.label_smoothing < 1 or not self.z_loss >= 0:
            raise UserError(
                f"LABEL_SMOOTHING = {self.label_smoothing} must be from 0 to below 1, and Z_LOSS = "
                f"{self.z_loss} at least 0."
            )
        if self.distillation is not None and not self.method.prompt_length:
            raise UserError(
                f"distillation is of prompts, and the method {self.method.name!r} has none: use "
                "gin/mpt_target.gin, or add --gin_file=gin/methods/no_distillation.gin."
            )
        end_id(self.input_vocabulary, self.config.eos_id)
        end = end_id(self.output_vocabulary, self.config.eos_id)
        object.__setattr__(self, "config", dataclasses.replace(self.config, eos_id=end))

    @property
    def FEATURE_CONVERTER_CLS(self) -> type:  # noqa: N802
        """T5X's name for the class of SeqIO's converter; with it comes TensorFlow."""
        from mpt_jax.engine.data.feature_converter import TaskIdFeatureConverter

        return TaskIdFeatureConverter

    # ---------------------------------------------------------------- parameters

    @functools.cached_property
    def module(self) -> network.Transformer:
        """The Flax module: the backbone alone. Prompts are composed outside of it."""
        return network.Transformer(self.config)

    def get_initial_variables(
        self, rng: jax.Array, input_shapes: Mapping, input_types: Mapping | None = None
    ) -> dict:
        """Random parameters of the backbone, zeros for what the method adds; traceable.

        Args:
            rng: PRNG key.
            input_shapes: feature name -> global shape.
            input_types: unused; part of T5X's signature.

        Returns:
            {"params": tree, "params_axes": tree of T5X's AxisMetadata}; `engine.initialize.start`
            gives what the method adds its values.
        """
        del input_types
        inputs, targets = (
            tuple(input_shapes[name]) for name in ("encoder_input_tokens", "decoder_input_tokens")
        )
        params = dict(_initial(self.module, rng, inputs, targets))
        for name, shapes in self.method.added_shapes(len(self.tasks), params).items():
            params[name] = filled(jnp.zeros, shapes)
        if self.distillation is not None:
            shape = (len(self.tasks), self.method.prompt_length, self.config.emb_dim)
            params["teacher"] = {"task_prompts": jnp.zeros(shape)}
        names = traverse_util.flatten_dict(self.param_axes(params), sep="/")
        metadata = {
            f"{path}_axes": flax_partitioning.AxisMetadata(names=axis)
            for path, axis in names.items()
        }
        return {"params": params, "params_axes": traverse_util.unflatten_dict(metadata, sep="/")}

    def param_axes(self, params: Mapping) -> dict:
        """Logical axis names of every parameter, as tuples in a tree like `params`."""
        bank = [
            (rf"(prompt_bank|teacher)/{leaf}", names)
            for leaf, names in self.method.bank_axes.items()
        ]
        return axes.param_axes(params, [*bank, *self.method.axis_rules])

    def param_labels(self, params: Mapping) -> dict:
        """Learning-rate group of every trained parameter, "frozen" for the others."""
        return label_parameters(params, self.method.groups)

    # ---------------------------------------------------------------------- loss

    def normalizers(self, batch: Batch) -> dict[str, jax.Array]:
        """What the loss sums are divided by; of a whole batch, for its microbatches.

        Returns:
            "tokens" [B], as `losses.token_counts`; "encoder", "decoder" (distillation only):
            scalar counts of valid positions.
        """
        num_tasks = len(self.tasks) if self.method.independent_tasks else None
        counts = {"tokens": losses.token_counts(batch, num_tasks)}
        if self.distillation is not None:
            valid = losses.valid_positions(batch, self.method.prompt_length)
            counts |= {name: mask.sum() for name, mask in valid.items()}
        return counts

    def loss_fn(
        self,
        params: Mapping,
        batch: Batch,
        dropout_rng: jax.Array | None,
        normalizers: Mapping[str, jax.Array] | None = None,
    ) -> tuple[jax.Array, dict]:
        """L_PLM, plus λ (L_logits + L_hidden) where there are teachers (paper, equation 5).

        Args:
            params: nested dict.
            batch: encoder_input_tokens [B, T], decoder_input_tokens, decoder_target_tokens and
                decoder_loss_weights [B, S], task_ids [B].
            dropout_rng: PRNG key, or None for no dropout.
            normalizers: counts of the whole batch that `batch` is a microbatch of; None: of
                `batch` itself.

        Returns:
            scalar float32 loss, and clu metrics by name.
        """
        counts = self.normalizers(batch) if normalizers is None else normalizers
        names = () if self.distillation is None else tuple(self.distillation.hidden_states)
        logits, states = self._apply(params, batch, self._inputs(params, batch), dropout_rng, names)
        weights = batch["decoder_loss_weights"].astype(jnp.float32)
        token_loss = weights * losses.cross_entropy(
            logits, batch["decoder_target_tokens"], self.label_smoothing, self.z_loss
        )
        token_loss = self._of_known_tasks(batch, token_loss)
        loss = jnp.sum(token_loss / counts["tokens"][:, None])
        summary = losses.by_task(logits, batch, token_loss, len(self.tasks))
        if self.distillation is not None:
            terms = self._distill(params, batch, logits, states, counts)
            summary |= {name: metrics.Sum(term) for name, term in terms.items()}
            loss += self.distillation.weight * sum(terms.values())
        return loss, summary

    def eval_fn(self, params: Mapping, batch: Batch) -> tuple[jax.Array, dict]:
        """The loss without dropout; as `loss_fn`."""
        return self.loss_fn(params, batch, None)

    def _inputs(self, params: Mapping, batch: Batch) -> tuple[jax.Array | None, jax.Array | None]:
        """The prompts [B, P, D] of a batch's `task_ids`, and its embedded text [B, T, D].

        Both None for a method without prompts, whose text the network embeds.
        """
        if "prompt_bank" not in params:
            return None, None
        tokens = batch["encoder_input_tokens"]
        embedded = self.module.apply({"params": params}, tokens, method="embed")
        text = prompts.Text(embedded, network.encoder_valid(tokens))
        given = (params["prompt_bank"], batch["task_ids"], text)
        return self.method.compose(*given), self.method.embed_text(*given)

    def _apply(self, params, batch, inputs, dropout_rng=None, state_names=()):
        """Logits [B, S, V] and the named hidden states of one forward pass on `_inputs`."""
        with self._adapted(params, batch) as variables:
            outputs, collected = self.module.apply(
                {"params": variables},
                batch["encoder_input_tokens"],
                batch["decoder_input_tokens"],
                *inputs,
                enable_dropout=dropout_rng is not None,
                rngs=None if dropout_rng is None else {"dropout": dropout_rng},
                mutable=["hidden_states"] if state_names else [],
            )
        states = collected.get("hidden_states", {})
        return outputs, distill.select_states(states, state_names)

    @contextlib.contextmanager
    def _adapted(self, params: Mapping, batch: Batch) -> Iterator[Mapping]:
        """Within it the modules of the backbone act with what the method adds to them.

        Gives the parameters that they then need, for the tasks of `batch`.
        """
        interceptor = self.method.interceptor
        within = nn.intercept_methods(interceptor) if interceptor else contextlib.nullcontext()
        with within:
            yield self.method.variables(params, batch["task_ids"])

    def _distill(self, params, batch, logits, states, counts) -> dict[str, jax.Array]:
        """L_logits and L_hidden against the teacher prompts, through the same backbone."""
        spec = self.distillation
        inputs = (prompts.compose(params["teacher"], batch["task_ids"]), None)
        teacher_logits, teacher_states = jax.lax.stop_gradient(
            self._apply(params, batch, inputs, state_names=tuple(spec.hidden_states))
        )
        weights = batch["decoder_loss_weights"].astype(jnp.float32)
        weights = weights / counts["tokens"][:, None]
        terms = {
            "loss_logits": distill.kl_divergence(teacher_logits, logits, weights, spec.temperature)
        }
        valid = losses.valid_positions(batch, self.method.prompt_length)
        hidden = [
            distill.squared_difference(teacher_states[name], state, valid[side]) / counts[side]
            for name, state in states.items()
            for side in [name.partition("/")[0]]
        ]
        return {**terms, "loss_hidden": sum(hidden)} if hidden else terms

    # ----------------------------------------------------------------- inference

    @property
    def inference(self) -> tuple:
        """What decides the programs below, except for the shapes of their arguments, hashable.

        Models where it is equal can share them.
        """
        method, number = self.method, len(self.tasks)
        others = [f.name for f in dataclasses.fields(self) if f.name not in _NOT_OF_INFERENCE]
        given = [(name, getattr(self, name)) for name in others]
        # gin makes a subclass of its own of a class that it configures: the functions are the same.
        variables = getattr(method.variables, "__func__", method.variables)
        tree = getattr(getattr(method.variables, "__self__", None), "tree", None)
        acts = (method.compose, method.embed_text, method.interceptor, variables, tree)
        return (type(self), number, *acts, *given)

    def predict_batch(
        self, params: Mapping, batch: Batch, rng: jax.Array | None = None
    ) -> jax.Array:
        """Decoded ids [B, S] int32, S as long as the batch's targets."""
        return self.predict_batch_with_aux(params, batch, rng)[0]

    def predict_batch_with_aux(
        self, params: Mapping, batch: Batch, rng: jax.Array | None = None
    ) -> tuple[jax.Array, dict[str, jax.Array]]:
        """Decoded ids [B, S] int32 and {"scores": [B]} (log-probability of the output).

        A row without text is not answered: it is padding, with a score of 0. A row whose task id is
        not one of the run's, [0, K), is -1 throughout, and its score NaN.
        """
        with self._adapted(params, batch) as variables:
            encoded, valid = self._encode(variables, batch)
            ids, scores = self.decode_fn(
                self.module,
                variables,
                encoded,
                valid,
                wanted=jnp.any(batch["encoder_input_tokens"] != network.PAD_ID, axis=1),
                max_decode_length=batch["decoder_input_tokens"].shape[1],
                rng=rng,
                eos_id=self.config.eos_id,
            )
        ids = self._of_known_tasks(batch, ids, -1)
        return ids, {"scores": self._of_known_tasks(batch, scores)}

    def embed_prompts(self, params: Mapping, batch: Batch) -> jax.Array | None:
        """The prompts [B, P, D] of a batch's `task_ids`; None for a method without prompts."""
        return self._marked_inputs(params, batch)[0]

    def _marked_inputs(self, params: Mapping, batch: Batch):
        """`_inputs`, the prompts of rows of no known task NaN."""
        found, embedded = self._inputs(params, batch)
        return None if found is None else self._of_known_tasks(batch, found), embedded

    def _of_known_tasks(
        self, batch: Batch, values: jax.Array, otherwise: float = jnp.nan
    ) -> jax.Array:
        """`values` [B, ...], but `otherwise` for rows whose task id is not in [0, K).

        jax takes the row of a bank that is nearest to an index out of its range: unmarked, such an
        example would be answered with the last task's prompt.
        """
        ids = batch["task_ids"].reshape(-1, *(1,) * (values.ndim - 1))
        known = (ids >= 0) & (ids < max(1, len(self.tasks)))  # without tasks all ids are 0
        return jnp.where(known, values, jnp.asarray(otherwise, values.dtype))

    def _encode(self, params: Mapping, batch: Batch) -> tuple[jax.Array, jax.Array]:
        """Prompt and text, encoded [B, P+T, D], and which positions may be seen [B, P+T]."""
        tokens, inputs = batch["encoder_input_tokens"], self._marked_inputs(params, batch)
        encoded = self.module.apply({"params": params}, tokens, *inputs, method="encode")
        return encoded, network.encoder_valid(tokens, inputs[0])

    def encode_batch(self, params: Mapping, batch: Batch) -> jax.Array:
        """The encoder's last states of prompt and text, [B, P+T, D] float32."""
        with self._adapted(params, batch) as variables:
            encoded, _ = self._encode(variables, batch)
        return self._of_known_tasks(batch, encoded.astype(jnp.float32))

    def logits_batch(self, params: Mapping, batch: Batch) -> jax.Array:
        """The logits after each of the batch's `decoder_input_tokens` [B, S]: [B, S, V] float32."""
        logits, _ = self._apply(params, batch, self._inputs(params, batch))
        return self._of_known_tasks(batch, logits)

    def rank_batch(self, params: Mapping, batch: Batch) -> jax.Array:
        """Log-likelihood of each of an example's label words, [B, L] float32, in nats.

        A text is encoded, and its keys and values are made, once for all labels.

        Args:
            params: nested dict.
            batch: encoder_input_tokens [B, T], task_ids [B], and label_tokens [B, L, S]: words with
                their end token, then padding.
        """
        count, words, length = batch["label_tokens"].shape
        targets = batch["label_tokens"].reshape(count * words, length)
        fed = jnp.pad(targets, ((0, 0), (1, 0)))[:, :-1]
        with self._adapted(params, batch) as variables:
            encoded, valid = self._encode(variables, batch)
            logits = self.module.apply({"params": variables}, encoded, valid, fed, method="decode")
        token_losses = losses.cross_entropy(logits, targets)
        found = -jnp.sum(token_losses * (targets != network.PAD_ID), axis=1).reshape(count, words)
        return self._of_known_tasks(batch, found)

    def score_batch(self, params: Mapping, batch: Batch) -> jax.Array:
        """Log-likelihood of each example's target, [B] float32, in nats."""
        logits, _ = self._apply(params, batch, self._inputs(params, batch))
        token_losses = losses.cross_entropy(logits, batch["decoder_target_tokens"])
        found = -jnp.sum(token_losses * batch["decoder_loss_weights"], axis=1)
        return self._of_known_tasks(batch, found)


@functools.partial(jax.jit, static_argnums=(0, 2, 3))
def _initial(
    module: network.Transformer, rng: jax.Array, inputs: tuple[int, int], targets: tuple[int, int]
) -> Mapping:
    """Random parameters of the backbone, traced once for inputs and targets of these shapes."""
    tokens = jnp.ones(inputs, jnp.int32), jnp.ones(targets, jnp.int32)
    return module.init(rng, *tokens)["params"]
