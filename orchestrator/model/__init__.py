"""A model that has left its study: a folder that scores images, proves itself and says what was promised of it."""
