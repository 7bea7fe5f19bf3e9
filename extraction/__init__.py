"""From downloaded images to the data files that training reads.

Two modules are the tables of contents: `extract` sends the images to face servers and stores the
answers, and `cleaning` makes a data file of labels and stored answers.
"""
