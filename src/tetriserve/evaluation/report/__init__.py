"""What a folder of results says, as a page with tables and charts. Nothing here is measured."""
