"""Visual Turing tests in the browser: readers say of lesions, real and synthetic in random order, which is which."""
