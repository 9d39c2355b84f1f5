"""From measurements of images and labels to a recipe, with a reason for every choice."""
