"""What several files of tests share."""

import paper_data
import pytest


@pytest.fixture(scope="session")
def paper_data_dir(tmp_path_factory):
    """A folder with the 25 datasets of the paper, prepared, a few rows each."""
    folder = str(tmp_path_factory.mktemp("prepared"))
    for name in paper_data.EXAMPLES:
        paper_data.store(name, paper_data.stored_splits(name), folder)
    return folder
