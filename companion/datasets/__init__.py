"""Images to learn from: handwritten digits, DICOM files and series."""
