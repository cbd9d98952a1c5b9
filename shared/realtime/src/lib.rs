//! The Supabase door: a client of Realtime over one websocket, and one of PostgREST.
