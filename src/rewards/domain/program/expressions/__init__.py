"""The expression language of documents: CEL with one kind of number, checked and evaluated by one engine."""
