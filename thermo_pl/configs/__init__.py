"""Config files: laid one over another, looked through, and told plainly what is wrong."""
