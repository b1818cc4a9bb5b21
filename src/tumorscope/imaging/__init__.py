"""Pure functions from array to array: cleaning, cropping, enhancing, normalising, resizing."""
