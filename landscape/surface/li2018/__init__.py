"""The files of Li et al. (2018), read and written."""
