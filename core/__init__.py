"""What two programs must agree on: types, parsing, text, embeddings, retrieval and tables."""
