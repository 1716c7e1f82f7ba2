"""One chain of schema revisions for both files; ``store.migrate`` runs it."""
