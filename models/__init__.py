"""What makes videos: the bundled ConsistI2V, adapters for others, baselines."""
