"""Data files and their licences; `sk_rqvae.datasets` reads them."""
