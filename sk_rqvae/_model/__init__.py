"""The model that is trained: encoder, residual quantizer, decoder and losses."""
