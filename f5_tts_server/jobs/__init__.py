"""Long texts as jobs: documents with chapters, kept on the disk while they are spoken, and books of their audio."""
