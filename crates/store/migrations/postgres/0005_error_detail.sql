-- What the error class of an attempt does not say, in words.
ALTER TABLE attempts ADD COLUMN error_detail text;
