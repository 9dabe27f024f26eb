"""The drift watch: when incoming images stop being like those of validation, and what to do then."""
