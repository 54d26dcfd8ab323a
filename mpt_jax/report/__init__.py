"""Tables and pictures of finished runs: `t5x report RUN_DIR...` (docs/report.md).

- folders.py, runs.py, facts.py: run folders become records; what is left out becomes a list.
- settings.py, tables.py: runs that are compared with each other; mean ± std over seeds.
- scores.py, curves.py, similarity.py, heat_maps.py, style.py: the pictures.
- reported.py: published figures.
- html.py, build.py, command.py: the page, its files, the command.
"""
