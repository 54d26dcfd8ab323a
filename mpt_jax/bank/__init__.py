"""`t5x bank`: a file with the prompts of many tasks."""
