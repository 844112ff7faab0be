"""Many real apts while the upstream publishes and syncs are killed: nobody may notice."""
