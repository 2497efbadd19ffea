"""What the robot perceives, in a sentence: facts, wordings, the decoder that says them, and how well it does
(docs/CAPTIONS.md)."""
