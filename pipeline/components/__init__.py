"""Feature extraction shared by models. A component is a module here; a model lists those it uses."""
