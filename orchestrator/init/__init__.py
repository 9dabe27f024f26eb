"""A first study file for a folder of images. The door is `first_study` in `first.py`."""
