"""What a step reads: pipelines, batches, length buckets, the position in the data."""
