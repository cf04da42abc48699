"""What is made of a result: files, captions, plots, reports, corrections"""
