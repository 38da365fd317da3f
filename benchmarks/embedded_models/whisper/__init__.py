"""How serve_app/assets/whisper-demo-en is made: README.md beside this has the commands, in order.

grammar.txt, text, numbers   what is said
voices, engines              who says it: espeak-ng, flite, RHVoice
bank, speak                  utterances on disk
tokenizer                    the vocabulary
windows                      which utterances lie in a window, and what is to be written
studio                       the windows' sound and features
network, losses              what is trained, and for what
checkpoints, train           the training, in slices
package                      the trained weights -> the model that is served
held_out, evaluate           every figure of the model's card
"""
