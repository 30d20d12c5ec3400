"""The ingestion worker: learns new skills and publishes generations."""
