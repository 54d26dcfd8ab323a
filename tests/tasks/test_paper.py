import paper_data
import pytest
import seqio
import tensorflow_datasets as tfds

from mpt_jax.errors import UserError
from mpt_jax.tasks import mixtures, paper
from mpt_jax.tasks.info import info

BYTES = seqio.ByteVocabulary()
LENGTHS = {"inputs": 512, "targets": 64}


@pytest.fixture(name="register")
def _register(paper_data_dir, monkeypatch):
    """Registers the tasks over the stored rows, with the settings of the call.

    TFDS would rather read a prepared folder without the builder's own class, and SeqIO remembers.
    """
    monkeypatch.setattr(seqio.utils.LazyTfdsLoader, "_MEMOIZED_BUILDERS", {})
    monkeypatch.setattr(tfds.core.load, "_try_load_from_files_first", lambda *_, **__: False)
    return lambda **settings: paper.register(vocabulary=BYTES, data_dir=paper_data_dir, **settings)


def first_row(name, split="validation"):
    task = seqio.get_mixture_or_task(name)
    return next(task.get_dataset(LENGTHS, split, shuffle=False).as_numpy_iterator())


@pytest.mark.parametrize("name", paper.TASKS)
def test_a_row_of_the_real_builder_becomes_the_expected_texts(register, paper_data_dir, name):
    example = paper_data.EXAMPLES[name]
    builder = tfds.builder(paper.TASKS[name].builder, data_dir=paper_data_dir)
    assert type(builder) is tfds.builder_cls(builder.name)

    register(verbaliser="words", text_form="t5")
    row = first_row(name)
    assert row["inputs_pretokenized"].decode() == example.t5
    assert row["targets_pretokenized"].decode() == example.target
    assert BYTES.decode(row["inputs"][:-1].tolist()) == example.t5 and row["inputs"][-1] == 1

    register(verbaliser="digits", text_form="attempt")
    row = first_row(name)
    assert row["inputs_pretokenized"].decode() == example.attempt
    assert row["targets_pretokenized"].decode() == (example.digit or example.target)


def test_splits_have_the_sizes_of_the_recipes(register):
    register()
    sizes = {
        name: {
            split: seqio.get_mixture_or_task(name).num_input_examples(split)
            for split in task.splits
        }
        for name, task in paper.TASKS.items()
    }
    halves = {"train": 5, "validation": 2, "test": 3}
    large = {"train": 4, "validation": 1000, "test": 5}
    own = {"train": 5, "validation": 5, "test": 5}
    assert sizes == {
        **dict.fromkeys(("stsb", "mrpc", "rte", "cola"), halves),
        **dict.fromkeys(("multirc", "boolq", "wic", "wsc", "cb", "scitail"), halves),
        **dict.fromkeys(("qqp", "qnli", "sst2", "winogrande", "yelp"), large),
        **dict.fromkeys(("squad", "nq", "hotpotqa", "searchqa", "newsqa"), large),
        **dict.fromkeys(("mnli", "paws", "webnlg"), own),
        "record": {**large, "train": 8},  # each row has two right answers
        "e2e": {"train": 5, "validation": 1, "test": 1},  # one meaning
    }


def test_scitail_has_its_own_test_rows_where_asked_for(register):
    register(own_test_sets=True)
    task = seqio.get_mixture_or_task("scitail")
    assert [task.num_input_examples(split) for split in task.splits] == [5, 5, 5]
    assert seqio.get_mixture_or_task("cb").num_input_examples("test") == 3  # has no other


def test_info_says_how_inputs_are_written_and_what_answers_there_are():
    paper.register(vocabulary=BYTES)
    assert info("mnli").inputs == "mnli hypothesis: {hypothesis} premise: {premise}"
    assert info("mnli").label_words == ("entailment", "neutral", "contradiction")
    assert info("squad").label_words == () and info("squad").metric == "f1"
    paper.register(vocabulary=BYTES, text_form="attempt", verbaliser="digits", prefix=False)
    assert info("mnli").inputs == "premise: {premise} hypothesis: {hypothesis}"
    assert info("mnli").label_words == ("0", "1", "2")


def test_label_words_are_those_of_the_builders_or_say_the_same():
    renamed = {"yelp": ("negative", "positive")}  # the builder's are 1 and 2
    for name, task in paper.TASKS.items():
        if task.words:
            label = tfds.builder(task.builder).info.features["label"]
            assert task.words == renamed.get(name, tuple(label.names)), name


def test_mixtures_are_the_tables_of_the_paper():
    assert paper.register(vocabulary=BYTES) == "mpt_jax.tasks.paper"
    assert set(mixtures.task_names("paper_sources")) == set(paper.SOURCES)
    assert len(mixtures.task_names("glue")) == 8
    assert len(mixtures.task_names("super_glue")) == 5
    assert len(mixtures.task_names("paper_targets")) == 23
    assert {*paper.SUITES["paper_targets"], *paper.SOURCES} == paper.TASKS.keys()


def test_mixtures_are_in_proportion_to_rows(register):
    register()
    mixture = seqio.get_mixture_or_task("paper_sources")
    rates = {task.name: mixture.get_rate(task) for task in mixture.tasks}
    assert rates == {"mnli": 5, "qnli": 4, "qqp": 4, "sst2": 4, "squad": 4, "record": 8}


def test_feature_lengths_hold_the_longest_task():
    assert paper.feature_lengths("rte") == {"inputs": 256, "targets": 16}
    assert paper.feature_lengths("super_glue") == {"inputs": 348, "targets": 16}
    assert paper.feature_lengths(["rte", "nq"]) == {"inputs": 512, "targets": 64}
    assert paper.feature_lengths("generation") == {"inputs": 256, "targets": 128}


def test_epochs_of_a_mixture_are_the_fewest():
    assert paper.epochs("rte") > paper.epochs("mnli") == paper.epochs(["rte", "mnli"])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: paper.register(vocabulary=BYTES, verbaliser="word"), "verbaliser.*'words'"),
        (lambda: paper.register(vocabulary=BYTES, text_form="atempt"), "text_form.*'attempt'"),
        (lambda: paper.register(vocabulary=BYTES, prefix="no"), "prefix = 'no' .* True, False"),
        (lambda: paper.register(vocabulary=BYTES, own_test_sets="wsc"), "own_test_sets = 'wsc'"),
        (lambda: paper.feature_lengths("multi_rc"), "not one of the paper.*mean 'multirc'"),
        (lambda: paper.epochs(["rte", "supr_glue"]), "mean 'super_glue'"),
    ],
)
def test_unknown_names_are_refused_with_the_nearest(call, message):
    with pytest.raises(UserError, match=message):
        call()
