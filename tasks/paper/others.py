"""The four other classification targets of the paper; T5 has none of them."""

from mpt_jax.tasks.paper import splits
from mpt_jax.tasks.paper.task import Form, PaperTask

TASKS = {
    "winogrande": PaperTask(
        builder="winogrande:1.2.0",
        splits=splits.held_out(train="train_xl"),
        t5=Form("winogrande", "sentence: {sentence} option1: {option1} option2: {option2}"),
        # ATTEMPT itself shows the first option twice, so that nothing tells the two apart.
        attempt=Form("winogrande", "sentence: {sentence} option0: {option1} option1: {option2}"),
        words=("1", "2"),
    ),
    "yelp": PaperTask(
        builder="yelp_polarity_reviews:0.2.0",
        splits=splits.held_out(test="test"),
        t5=Form("yelp_polarity", "sentence: {text}"),
        words=("negative", "positive"),
    ),
    "scitail": PaperTask(
        builder="sci_tail:1.0.0",
        splits=splits.HALVES,  # ATTEMPT's, whose figures the paper's are compared with
        own_splits=splits.OWN,
        t5=Form("scitail", "hypothesis: {hypothesis} premise: {premise}"),
        attempt=Form("scitail", "premise: {premise} hypothesis: {hypothesis}"),
        words=("entails", "neutral"),
    ),
    "paws": PaperTask(
        builder="paws_wiki/labeled_final_tokenized:1.1.0",
        splits=splits.OWN,
        t5=Form("paws", "sentence1: {sentence1} sentence2: {sentence2}"),
        words=("different_meaning", "paraphrase"),
    ),
}
