"""Problems made of the models and data of other libraries: Hugging Face and Lightning."""
