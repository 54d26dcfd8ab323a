"""The reader of compiled programs: on text written by hand, and on what a compiler wrote."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from mpt_jax.plan.hlo import Program
from mpt_jax.plan.hlo_text import Array

# A loop of 5 turns around a product and an all-reduce, after a gather; tiles as on a TPU.
TEXT = """
HloModule step, is_scheduled=true

%add (a: f32[], b: f32[]) -> f32[] {
  %a = f32[] parameter(0)
  %b = f32[] parameter(1)
  ROOT %sum = f32[] add(%a, %b)
}

%sliced (stack: bf16[5,16,32], i: s32[]) -> bf16[16,32] {
  %stack = bf16[5,16,32]{2,1,0:T(8,128)(2,1)} parameter(0)
  %i = s32[]{:T(128)} parameter(1)
  %zero = s32[] constant(0)
  %one = bf16[1,16,32]{2,1,0:T(8,128)(2,1)} dynamic-slice(%stack, %i, %zero, %zero)
  ROOT %flat = bf16[16,32]{1,0:T(8,128)(2,1)} bitcast(%one)
}

%body (state: (s32[], f32[8,16], bf16[5,16,32])) -> (s32[], f32[8,16], bf16[5,16,32]) {
  %state = (s32[], f32[8,16]{1,0}, bf16[5,16,32]{2,1,0}) parameter(0)
  %i = s32[] get-tuple-element(%state), index=0
  %x = f32[8,16]{1,0:T(8,128)} get-tuple-element(%state), index=1
  %stack = bf16[5,16,32]{2,1,0:T(8,128)(2,1)} get-tuple-element(%state), index=2
  %kernel = bf16[16,32]{1,0:T(8,128)(2,1)} fusion(%stack, %i), kind=kLoop, calls=%sliced
  %y = f32[8,32]{1,0:T(8,128)} dot(%x, %kernel), lhs_contracting_dims={1}, rhs_contracting_dims={0}
  %reduced = f32[8,32]{1,0} all-reduce(%y), replica_groups=[4,2]<=[8], to_apply=%add
  ROOT %next = (s32[], f32[8,16]{1,0}, bf16[5,16,32]{2,1,0}) tuple(%i, %x, %stack)
}

%condition (state.1: (s32[], f32[8,16], bf16[5,16,32])) -> pred[] {
  %state.1 = (s32[], f32[8,16]{1,0}, /*index=2*/bf16[5,16,32]{2,1,0}) parameter(0)
  %i.1 = s32[] get-tuple-element(%state.1), index=0
  %turns = s32[] constant(5)
  ROOT %goes_on = pred[] compare(%i.1, %turns), direction=LT
}

ENTRY %main (p: f32[8,16], w: bf16[5,16,32]) -> f32[8,16] {
  %p = f32[8,16]{1,0} parameter(0)
  %w = bf16[5,16,32]{2,1,0} parameter(1)
  %gathered = f32[8,64]{1,0} all-gather(%p), replica_groups={{0,1,2,3},{4,5,6,7}}, dimensions={1}
  %zero.1 = s32[] constant(0)
  %begin = (s32[], f32[8,16]{1,0}, bf16[5,16,32]{2,1,0}) tuple(%zero.1, %p, %w)
  %loop = (s32[], f32[8,16]{1,0}, bf16[5,16,32]) while(%begin), condition=%condition, body=%body
  ROOT %result = f32[8,16]{1,0} get-tuple-element(%loop), index=1
}
"""


def test_what_is_in_a_loop_counts_as_often_as_it_turns():
    program = Program(TEXT, devices=8)
    assert program.times == {"main": 1, "body": 5, "sliced": 5}
    product = 2 * 8 * 32 * 16
    assert program.flops() == 5 * product and program.flops(repeated=False) == product
    found = {each.kind: each for each in program.collectives()}
    reduced, gathered = found["all-reduce"], found["all-gather"]
    assert (reduced.group, reduced.count, reduced.bytes) == (2, 5, 5 * 8 * 32 * 4)
    assert reduced.moved == 2 * reduced.bytes / 2
    assert (gathered.group, gathered.count, gathered.bytes) == (4, 1, 8 * 64 * 4)
    assert gathered.moved == gathered.bytes * 3 / 4


def test_bytes_are_those_of_padded_tiles_and_of_slices():
    assert Array("bf16", (5, 32), (1, 0), (8, 128)).padded_bytes == 8 * 128 * 2
    program = Program(TEXT)
    tile = 8 * 128
    sliced = 2 * (16 * 128) * 2  # read from the stack, and written
    dot = tile * 4 + (16 * 128) * 2 + tile * 4
    reduced = tile * 4 + 8 * 32 * 4
    gathered = (8 * 16 + 8 * 64) * 4
    once = sliced + dot + reduced + gathered
    # The index of the slice is read too: a scalar, in a tile of its own on a TPU.
    assert program.bytes(repeated=False) == pytest.approx(once, abs=512)


def test_of_stacks_only_the_slice_and_the_update_move_however_deep_they_are_fused():
    """A layer's kernel, sliced inside a fusion in a fusion; its states, written into a stack."""
    layer = """
%sliced (stack: bf16[24,16,256], i: s32[]) -> bf16[16,256] {
  %stack = bf16[24,16,256]{2,1,0:T(8,128)(2,1)} parameter(0)
  %i = s32[] parameter(1)
  %one = bf16[1,16,256]{2,1,0:T(8,128)(2,1)} dynamic-slice(%stack, %i, %i, %i)
  ROOT %flat = bf16[16,256]{1,0:T(8,128)(2,1)} bitcast(%one)
}

%product (x: bf16[8,16], stack.1: bf16[24,16,256], i.1: s32[]) -> bf16[8,256] {
  %x = bf16[8,16]{1,0:T(8,128)(2,1)} parameter(0)
  %stack.1 = bf16[24,16,256]{2,1,0:T(8,128)(2,1)} parameter(1)
  %i.1 = s32[] parameter(2)
  %kernel = bf16[16,256]{1,0:T(8,128)(2,1)} fusion(%stack.1, %i.1), kind=kLoop, calls=%sliced
  ROOT %y = bf16[8,256]{1,0:T(8,128)(2,1)} dot(%x, %kernel), lhs_contracting_dims={1}
}

%kept (buffer: bf16[24,8,256], j: s32[], y.1: bf16[8,256]) -> (bf16[24,8,256], f32[8,128]) {
  %buffer = bf16[24,8,256]{2,1,0:T(8,128)(2,1)} parameter(0)
  %j = s32[] parameter(1)
  %y.1 = bf16[8,256]{1,0:T(8,128)(2,1)} parameter(2)
  %row = bf16[1,8,256]{2,1,0:T(8,128)(2,1)} bitcast(%y.1)
  %new = bf16[24,8,256]{2,1,0:T(8,128)(2,1)} dynamic-update-slice(%buffer, %row, %j, %j, %j)
  %other = f32[8,128]{1,0:T(8,128)} broadcast(%j)
  ROOT %both = (bf16[24,8,256]{2,1,0:T(8,128)(2,1)}, f32[8,128]{1,0:T(8,128)}) tuple(%new, %other)
}

ENTRY %main (p: bf16[8,16], w: bf16[24,16,256], b: bf16[24,8,256], n: s32[]) -> bf16[24,8,256] {
  %p = bf16[8,16]{1,0:T(8,128)(2,1)} parameter(0)
  %w = bf16[24,16,256]{2,1,0:T(8,128)(2,1)} parameter(1)
  %b = bf16[24,8,256]{2,1,0:T(8,128)(2,1)} parameter(2)
  %n = s32[]{:S(6)} parameter(3)
  %z = bf16[8,256]{1,0:T(8,128)(2,1)} fusion(%p, %w, %n), kind=kOutput, calls=%product
  %k = (bf16[24,8,256]{2,1,0:T(8,128)(2,1)}, f32[8,128]{1,0}) fusion(%b, %n, %z), calls=%kept
  ROOT %r = bf16[24,8,256]{2,1,0:T(8,128)(2,1)} get-tuple-element(%k), index=0
}
"""
    states, kernel, result, other = (8 * 128) * 2, (16 * 256) * 2, (8 * 256) * 2, (8 * 128) * 4
    product = states + kernel + result
    assert Program(layer).bytes(only_hbm=True) == product + (result + result + other)
    # Where the compiler cannot write in place, the whole buffer is written.
    copied = (
        layer.replace("slice(%buffer, %row", "slice(%filled, %row")
        .replace(
            "%buffer = bf16[24,8,256]{2,1,0:T(8,128)(2,1)} parameter(0)",
            "%filled = bf16[24,8,256]{2,1,0:T(8,128)(2,1)} broadcast(%j)",
        )
        .replace("fusion(%b, %n, %z)", "fusion(%n, %n, %z)")
    )
    assert Program(copied).bytes(only_hbm=True) == product + (result + 24 * result + other)


def test_a_collective_in_pieces_counts_once():
    """A weight that is gathered while two products run: four fusions hold a piece of it."""
    whole, part = "bf16[1024,128]{1,0:T(8,128)(2,1)}", "bf16[256,128]{1,0:T(8,128)(2,1)}"
    x = "bf16[8,128]{1,0:T(8,128)(2,1)}"
    gather = 'channel_id=7, replica_groups=[4,4]<=[16], frontend_attributes={chain_id="0"}'

    def between(number):
        return f"""
%piece.{number} (p: {part}, w: {whole}, x: {x}) -> ({x}, {part}, {whole}) {{
  %p = {part} parameter(0)
  %w = {whole} parameter(1)
  %x = {x} parameter(2)
  %y = {x} dot(%x, %x), lhs_contracting_dims={{1}}
  %g = {whole} all-gather(%p), {gather}
  ROOT %all = ({x}, {part}, {whole}) tuple(%y, %p, %w)
}}
"""

    text = f"""
%first (p: {part}) -> ({part}, {whole}) {{
  %p = {part} parameter(0)
  %g = {whole} all-gather(%p), {gather}
  ROOT %begun = ({part}, {whole}) custom-call(%g)
}}
{between(1)}{between(2)}
%last (p: {part}, w: {whole}) -> {whole} {{
  %p = {part} parameter(0)
  %w = {whole} parameter(1)
  %g = {whole} all-gather(%p), {gather}
  ROOT %gathered = {whole} custom-call(%p, %w, %g)
}}

ENTRY %main (p: {part}, x: {x}) -> {whole} {{
  %p = {part} parameter(0)
  %x = {x} parameter(1)
  %a = ({part}, {whole}) fusion(%p), kind=kCustom, output_to_operand_aliasing={{{{0}}: (0, {{}})}}, calls=%first
  %p1 = {part} get-tuple-element(%a), index=0
  %w1 = {whole} get-tuple-element(%a), index=1
  %b = ({x}, {part}, {whole}) fusion(%p1, %w1, %x), output_to_operand_aliasing={{{{1}}: (0, {{}}), {{2}}: (1, {{}})}}, calls=%piece.1
  %p2 = {part} get-tuple-element(%b), index=1
  %w2 = {whole} get-tuple-element(%b), index=2
  %c = ({x}, {part}, {whole}) fusion(%p2, %w2, %x), output_to_operand_aliasing={{{{1}}: (0, {{}}), {{2}}: (1, {{}})}}, calls=%piece.2
  %p3 = {part} get-tuple-element(%c), index=1
  %w3 = {whole} get-tuple-element(%c), index=2
  ROOT %d = {whole} fusion(%p3, %w3), kind=kCustom, output_to_operand_aliasing={{{{}}: (1, {{}})}}, calls=%last
}}
"""  # noqa: E501
    program = Program(text)
    (gathered,) = program.collectives()
    assert (gathered.count, gathered.group, gathered.bytes) == (1, 4, 1024 * 128 * 2)
    # The part is read, the whole written; each product reads its states and writes others.
    assert program.bytes(only_hbm=True) == (256 + 1024 + 2 * (8 + 8)) * 128 * 2


def test_bytes_of_hbm_leave_out_the_memory_on_the_chip():
    on_the_chip = """
ENTRY %main (p: f32[8,128], w: f32[8,128]) -> f32[8,128] {
  %p = f32[8,128]{1,0:T(8,128)} parameter(0)
  %w = f32[8,128]{1,0:T(8,128)S(1)} parameter(1)
  %fetch = (f32[8,128]{1,0:T(8,128)S(1)}, f32[8,128]{1,0:T(8,128)}, u32[]{:S(2)}) copy-start(%p)
  %fetched = f32[8,128]{1,0:T(8,128)S(1)} copy-done(%fetch)
  %sum = f32[8,128]{1,0:T(8,128)S(1)} add(%fetched, %w)
  ROOT %result = f32[8,128]{1,0:T(8,128)} custom-call(%sum), X={"flops":"9","bytes_accessed":"77"}
}
"""
    array, program = 8 * 128 * 4, Program(on_the_chip)
    assert program.bytes() == (2 + 3 + 2) * array
    assert program.bytes(only_hbm=True) == (1 + 0 + 1) * array
    assert program.stated_bytes() == 77
    assert program.flops() == 8 * 128 + 9


def test_a_loop_that_does_two_turns_in_one_turns_half_as_often():
    """As the compiler makes of loops that overlap products with the gathering of a weight."""
    two = TEXT.replace("tuple(%i, %x, %stack)", "tuple(%i.2, %x, %stack)").replace(
        "  %x = f32", "  %two = s32[] constant(2)\n  %i.2 = s32[] add(%i, %two)\n  %x = f32"
    )
    assert Program(two).times["body"] == 3


def test_a_loop_of_unknown_length_counts_once_and_is_named():
    text = TEXT.replace("constant(5)", "parameter(7)")
    assert Program(text).unknown == ["loop"]
    assert Program(text).flops() == Program(text).flops(repeated=False)


def test_a_convolution_counts_without_the_holes_of_its_dilation():
    dilated = """
ENTRY %main (q: f32[4,8,84,32], k: f32[4,8,84,32]) -> f32[4,8,84,84] {
  %q = f32[4,8,84,32]{3,2,1,0} parameter(0)
  %k = f32[4,8,84,32]{3,2,1,0} parameter(1)
  ROOT %s = f32[4,8,84,84]{3,2,1,0} convolution(%q, %k), WINDOW
}
""".replace("WINDOW", "window={size=4x8 stride=3x7 lhs_dilate=4x8}, dim_labels=01bf_01oi->01bf")
    assert Program(dilated).flops() == 2 * (4 * 8) * 84 * 84 * 32  # one product per head


def test_a_program_of_the_cpu_compiler_counts_as_it_says():
    """Without a loop the compiler's own FLOPs; with one, those of its body that often."""
    mesh = Mesh(np.array(jax.devices()), ("model",))
    columns = NamedSharding(mesh, PartitionSpec(None, None, "model"))
    rows = NamedSharding(mesh, PartitionSpec(None, "model", None))
    x = jax.ShapeDtypeStruct((8, 64), "float32", sharding=NamedSharding(mesh, PartitionSpec()))
    up = jax.ShapeDtypeStruct((3, 64, 256), "float32", sharding=columns)
    down = jax.ShapeDtypeStruct((3, 256, 64), "float32", sharding=rows)

    def layers(x, up, down, unroll):
        def layer(x, kernels):
            return jnp.tanh(x @ kernels[0]) @ kernels[1], None

        return jax.lax.scan(layer, x, (up, down), unroll=unroll)[0]

    products = 3 * 2 * 2 * 8 * 64 * 256 // 4
    for unroll in (1, 3):
        compiled = jax.jit(layers, static_argnums=3).lower(x, up, down, unroll).compile()
        program = Program(compiled.as_text(), devices=4)
        assert products <= program.flops() < 1.1 * products
        (reduced,) = [each for each in program.collectives() if each.kind == "all-reduce"]
        assert (reduced.count, reduced.group, reduced.bytes) == (3, 4, 3 * 8 * 64 * 4)
    compilers = compiled.cost_analysis()["flops"]
    assert program.flops() == pytest.approx(compilers, rel=0.1)
