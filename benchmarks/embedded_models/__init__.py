"""How the models in serve_app/assets were made."""
