"""Networks: an encoder, a decoder and a head put together. Needs the ``train`` extra."""
