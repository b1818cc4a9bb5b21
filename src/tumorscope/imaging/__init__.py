"""Pure functions from array to array: cleaning, cropping, enhancing, normalising, resizing.

``background`` clean_background · ``head`` what stands out from the background · ``crop`` crop_head · ``geometry``
Box, Letterbox · ``intensity`` normalize, standardize · ``histogram`` histogram, equalize, clahe, match_histogram ·
``bias`` correct_bias · ``denoise`` denoise · ``edges`` sobel, canny, unsharp · ``musica`` musica · ``skull`` head_mask,
brain_mask, strip_skull · ``regions`` watershed, superpixels, random_walker · ``snakes`` snake · ``kmeans``,
``cluster_sweep`` how many clusters · ``intensity_clusters`` exact k-means of grey values, mixtures, multi-Otsu ·
``cluster_candidates`` · ``palettes`` their colours · ``features`` all features of a head · ``shape`` of a mask ·
``preparation`` what a network expects · ``steps`` any of it in any order.
Slices are (H, W) arrays of any range; float32 comes back.
"""
