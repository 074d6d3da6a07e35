"""Three-dimensional scenes: surfaces and paths rendered by VTK, with text by matplotlib, as stills and animations.

From the options to the image:

==================  =========================================================================================
``options``         options of scenes and animations, and the size of an image
``panel``           surfaces as height fields in boxes, with paths and notes (arrays only)
``layout``          rectangles of panels, colour bar, legend, titles and note in the figure
``camera``          views and projection; ``framing`` fits the camera to a scene or an orbit
``axes``            edges of the box that carry the axes, and their ticks
``composition``     everything of a scene that does not depend on the camera
``mesh``            meshes of surfaces and paths; ``actors`` gives them materials and lights
``vtk_scene``       one panel in VTK; ``offscreen`` renders it without a display
``overlay``         text, axes, colour bar and legend over the rendered image; ``hud`` for animations
``scene``           ``render_scene``: a still
``animation``       ``animate_scene``: an orbit of the camera, growing paths, or both
==================  =========================================================================================
"""
