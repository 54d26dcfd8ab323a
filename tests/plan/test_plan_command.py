"""`t5x plan` as a user runs it."""

import json
import os
import subprocess
import sys

import pytest
import toy_prompts

from mpt_jax import cli
from mpt_jax.errors import UserError
from mpt_jax.plan import counting
from mpt_jax.plan.chips import CHIPS

SMALL = ("--gin_file=gin/mpt_source.gin", "--topology=v5e:2x2")
XXL = (
    "--gin_file=gin/mpt_target.gin",
    "--gin_file=gin/models/t5_xxl.gin",
    "--topology=v5e:8x8",
    "--gin.BATCH_SIZE=64",
)


def planned(capsys, *arguments):
    """The status and the JSON object."""
    status = cli.run(["plan", *arguments, "--json"])
    return status, json.loads(capsys.readouterr().out)


def test_without_the_compiler_it_counts_and_says_how_to_install_it(tmp_path):
    """From any folder, in a process of its own, where libtpu cannot be found."""
    hidden = (
        "import sys; sys.modules['libtpu'] = None; from mpt_jax import cli; sys.exit(cli.main())"
    )
    result = subprocess.run(
        [sys.executable, "-c", hidden, "plan", *XXL],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        env={**os.environ, "JAX_PLATFORMS": ""},
        check=False,
    )
    assert result.returncode == 0, result.stderr
    assert "data 8 × model 8" in result.stdout and "weights bfloat16" in result.stdout
    assert result.stderr == "only counted, not compiled: pip install 'mpt-jax[tpu_check]'\n"


def test_counted_numbers(capsys, no_compiler):
    status, facts = planned(capsys, *XXL)
    counted = facts["counted"]
    assert status == 0 and facts["chips"] == 64 and "compiled" not in facts
    # 11.3 billion in two bytes; an eighth of all but the norms is on each chip.
    assert counted["parameters"] == pytest.approx(11.3e9 * 2 / 8, rel=0.01)
    assert counted["seconds"] == counted["flops"] / CHIPS["v5e"].flops
    _, longer = planned(capsys, *XXL, "--gin.BATCH_SIZE=128")
    assert longer["counted"]["flops"] == 2 * counted["flops"]


@pytest.mark.parametrize("runs", [3, 8])
def test_runs_at_once_have_their_own_leaves_and_rows_and_share_the_backbone(
    runs, capsys, no_compiler
):
    _, one = planned(capsys, *SMALL)
    _, several = planned(capsys, *SMALL, f"--together={runs}")
    assert several["counted"]["flops"] == runs * one["counted"]["flops"]
    assert several["counted"]["parameters"] == one["counted"]["parameters"]
    own = one["counted"]["arguments"] - one["counted"]["parameters"]
    more = several["counted"]["arguments"] - one["counted"]["arguments"]
    assert 0 < more < runs * (own + one["counted"]["parameters"] / 10)


@pytest.mark.parametrize(("step", "passes"), [("train", 3), ("teachers", 6 * 2), ("predict", 1)])
def test_the_steps_of_a_source_run(step, passes, capsys, no_compiler):
    _, facts = planned(capsys, *SMALL, f"--step={step}", "--gin.EVAL_BATCH_SIZE=32")
    _, one = planned(capsys, *SMALL, "--step=predict", "--gin.EVAL_BATCH_SIZE=32")
    assert facts["counted"]["flops"] == passes * one["counted"]["flops"]


@pytest.mark.parametrize("file", ["sources", "glue_super_glue", "few_shot", "ablation"])
def test_the_paper_s_files_with_the_flags_of_their_runs(file, capsys, no_compiler):
    """Neither weights nor vocabulary need be there."""
    missing = ("--gin.SPIECE_MODEL=no.model", "--gin.INITIAL_CHECKPOINT_PATH=no_folder")
    arguments = (f"--gin_file=gin/paper/{file}.gin", "--gin.MIXTURE_OR_TASK_NAME=rte")
    status, facts = planned(capsys, *arguments, *missing, "--topology=v5e:2x2")
    assert status == 0
    # T5-Base in float32, of which each of four chips has all.
    assert facts["counted"]["parameters"] == pytest.approx(223e6 * 4, rel=0.01)


@pytest.mark.parametrize("command", ["eval", "infer"])
def test_files_of_evaluation_and_inference(command, tmp_path, capsys, no_compiler):
    """Their step is decoding, of what a product says of its lengths."""
    folder = toy_prompts.write(tmp_path)
    arguments = (
        f"--gin_file=gin/mpt_{command}.gin",
        "--gin_file=gin/models/checkpoint.gin",
        "--topology=v5e:2x2",
        f"--gin.PROMPTS={folder}",
        f"--gin.INITIAL_CHECKPOINT_PATH={folder}",
    )
    assert cli.run(["plan", *arguments]) == 0
    assert "predict, method restored; batch 112, inputs 20, targets 4" in capsys.readouterr().out
    _, facts = planned(capsys, *arguments)
    flops = counting.forward_flops(toy_prompts.CONFIG, length=3 + 20, targets=4)
    assert facts["counted"]["flops"] == 112 / 4 * flops
    with pytest.raises(UserError, match="--step=train: the gin files configure no such step"):
        planned(capsys, *arguments, "--step=train")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "--topology=CHIP:SHAPE"),
        (("--topology=v5e:2x2",), "needs --gin_file=FILE"),
        (("--topology=v5e:2x3", SMALL[0]), "Did you mean 'v5e:2x4'"),
        (("--topolgy=v5e:2x2", SMALL[0]), "Did you mean '--topology'"),
        ((*SMALL, "--step=decode"), "invalid choice: 'decode'"),
        ((*SMALL, "--suggest"), r"needs the TPU compiler: pip install 'mpt-jax\[tpu_check\]'"),
        ((SMALL[1], "--gin_file=gin/models/mini.gin"), "configure no run"),
        ((SMALL[1], "--gin_file=gin/mpt_target.gin", "--step=teachers"), "no such step"),
        ((*SMALL, "--gin.DTYP=bfloat16"), "Did you mean 'DTYPE'"),
        (
            (*SMALL, "--gin.partitioning.PjitPartitioner.num_partitions=3"),
            "not a divisor of the 4 device.*num_partitions to a divisor of 4",
        ),
        (("--topology=v5e:8x8", SMALL[0]), "Batch size 32 .*multiple of 64. Change BATCH_SIZE"),
        (
            ("--topology=v5e:4x4", "--slices=2", SMALL[0],
             "--gin.partitioning.PjitPartitioner.num_partitions=32"),
            "would span slices, of 16 devices",
        ),
    ],
)  # fmt: skip
def test_mistakes_are_one_line(arguments, message, no_compiler):
    with pytest.raises(UserError, match=message) as refusal:
        cli.run(["plan", *arguments])
    assert "\n" not in str(refusal.value)


def test_the_mini_step_compiles_for_a_tpu(capsys, compiler):
    status, facts = planned(capsys, *SMALL)
    compiled, counted = facts["compiled"], facts["counted"]
    assert status == 0 and compiled["fits"]
    assert counted["parameters"] < compiled["hbm_bytes"] < compiled["bytes"]
    assert compiled["arguments"] >= counted["arguments"]
    assert counted["flops"] < compiled["flops"] < 1.1 * counted["flops"]
    assert {each["kind"] for each in compiled["collectives"]} == {"all-reduce"}
