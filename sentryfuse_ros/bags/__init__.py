"""Reading recordings: messages, labels, run descriptions."""
