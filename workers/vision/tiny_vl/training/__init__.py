"""How demo/tiny-vl was made and is measured: pictures, tokenizer, training, evaluation. Not in the wheel."""
