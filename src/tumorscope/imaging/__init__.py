"""Pure functions from array to array: cleaning, cropping, enhancing, normalising, resizing.

``background`` clean_background · ``head`` what stands out from the background · ``crop`` crop_head · ``geometry`` Box,
Letterbox · ``intensity`` normalize · ``musica`` musica · ``preparation`` all of it in the order a network expects.
Slices are (H, W) arrays of any range; float32 comes back.
"""
