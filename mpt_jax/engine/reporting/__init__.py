"""What a run tells while it trains: lines, metrics, progress."""
