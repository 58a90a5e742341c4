"""`harness init`: a project of one's own, made from the pages in `project/`, that works before anything is changed."""
