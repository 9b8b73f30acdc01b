"""Who makes correlations, and how: each maker is a folder, and table.py knows them all."""
